//! The job script of Slurm, and the call of `sbatch`: functions of data.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::JobRequest;

/// How every job of a sweep is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTemplate {
    /// Options of `sbatch`, one for each line of the script, such as `--partition=gpu`.
    pub options: Vec<String>,
    /// Lines of the script before the worker.
    pub setup: Vec<String>,
    /// Variables that the worker gets.
    pub environment: Vec<(&'static str, String)>,
    /// The file of this program.
    pub program: PathBuf,
    pub container: Option<Container>,
    /// Bytes of a job are bytes for each of so many processors. None: bytes of the whole job.
    pub memory_per_cpu: Option<u64>,
}

/// A container in which workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub image: String,
    /// Folders of this machine that the container must see.
    pub folders: Vec<PathBuf>,
    pub has_gpus: bool,
}

/// Variables of a user that a job keeps. Everything else comes from the node, so that a parent which is itself a job does not pass
/// its own bounds on.
pub(super) const KEPT: &str = "HOME,USER,LOGNAME,PATH,LANG,LC_ALL,HF_HOME";

impl JobTemplate {
    /// The script of the jobs of `request`.
    #[must_use]
    pub fn script(&self, request: &JobRequest) -> String {
        let mut script = "#!/bin/bash\n".to_owned();
        let log = request.folder.join("%a.log");
        let mut options = vec![
            format!("--job-name={}", request.name),
            format!("--output={}", quoted_path(&log)),
            "--open-mode=append".to_owned(),
            format!("--export={KEPT}"),
            "--requeue".to_owned(),
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
        ];
        options.extend(request.memory.map(|bytes| match self.memory_per_cpu {
            Some(cpus) => format!("--mem-per-cpu={}M", mebibytes(bytes / cpus.max(1))),
            None => format!("--mem={}M", mebibytes(bytes)),
        }));
        if !request.avoid.is_empty() {
            options.push(format!("--exclude={}", request.avoid.join(",")));
        }
        for option in options.iter().chain(&self.options) {
            let _ = writeln!(script, "#SBATCH {option}");
        }
        script.push('\n');
        for (name, value) in &self.environment {
            let _ = writeln!(script, "export {name}={}", quoted(value));
        }
        // A line that fails ends the script: the parent then avoids the node.
        if !self.setup.is_empty() {
            script.push_str("set -e\n");
            for line in &self.setup {
                let _ = writeln!(script, "{line}");
            }
            script.push_str("set +e\n");
        }
        let exit = format!("{}/$index.exit", quoted_path(&request.folder));
        let _ = write!(
            script,
            r#"
index=${{SLURM_ARRAY_TASK_ID:-0}}
# The signals that announce the end of the job are for the worker: it saves its state and ends.
trap 'came=1; kill -USR1 $worker 2>/dev/null' USR1
trap 'came=1; kill -TERM $worker 2>/dev/null' TERM
{} worker --batch {} --index "$index" --stdin none &
worker=$!
while :; do
  came=
  wait $worker
  code=$?
  [ -n "$came" ] || break
done
echo "$code ${{SLURM_RESTART_COUNT:-0}}" >{exit}
exit $code
"#,
            self.command(),
            quoted_path(&request.document),
        );
        script
    }

    /// The script of a job of a second that writes into `trace` which of `files` its node does not see.
    #[must_use]
    pub fn probe_script(&self, name: &str, trace: &Path, files: &[PathBuf]) -> String {
        let mut script =
            format!("#!/bin/bash\n#SBATCH --job-name={name}\n#SBATCH --output=/dev/null\n#SBATCH --export={KEPT}\n");
        for option in &self.options {
            let _ = writeln!(script, "#SBATCH {option}");
        }
        script.push_str("{\n");
        for file in files.iter().chain([&self.program]) {
            let file = quoted_path(file);
            let _ = writeln!(script, "[ -e {file} ] || echo missing {file}");
        }
        let _ = writeln!(script, "echo end; }} >{}", quoted_path(trace));
        script
    }

    /// The start of the command line of a worker.
    fn command(&self) -> String {
        let program = quoted_path(&self.program);
        let Some(container) = &self.container else { return program };
        let mut command = "apptainer exec".to_owned();
        if container.has_gpus {
            command.push_str(" --nv");
        }
        for folder in &container.folders {
            let _ = write!(command, " --bind {}", quoted_path(folder));
        }
        let _ = write!(command, " {} {program}", quoted(&container.image));
        command
    }
}

/// The value of `sbatch --array` for these indices of a batch. At most `throttle` of them run at the same time.
pub(super) fn array(indices: &Range<u32>, throttle: Option<usize>) -> String {
    let throttle = throttle.map_or_else(String::new, |most| format!("%{most}"));
    format!("{}-{}{throttle}", indices.start, indices.end.saturating_sub(1))
}

/// The variables of this process that would change what the commands of Slurm do.
pub(super) fn contradicting() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_of_slurm = |name: &String| name.starts_with("SLURM_") || name.starts_with("SBATCH_");
    names.filter(|name| is_of_slurm(name) && name != "SLURM_CONF").collect()
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20).max(1)
}

fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> JobTemplate {
        JobTemplate {
            options: vec!["--partition=gpu".into(), "--time=120".into(), "--signal=B:USR1@120".into()],
            setup: Vec::new(),
            environment: vec![("OMP_NUM_THREADS", "1".into())],
            program: "/opt/plateau".into(),
            container: None,
            memory_per_cpu: None,
        }
    }

    fn request() -> JobRequest {
        JobRequest {
            name: "plateau-1a2b3c4d-3".into(),
            indices: vec![0],
            throttle: None,
            document: "/r/my sweep/batches/plateau-1a2b3c4d-3.json".into(),
            folder: "/r/my sweep/batches/plateau-1a2b3c4d-3".into(),
            memory: Some(1_500_000_000),
            avoid: vec!["n1".into(), "n7".into()],
        }
    }

    #[test]
    fn the_script_of_a_job() {
        insta::assert_snapshot!(template().script(&request()), @r#"
        #!/bin/bash
        #SBATCH --job-name=plateau-1a2b3c4d-3
        #SBATCH --output='/r/my sweep/batches/plateau-1a2b3c4d-3/%a.log'
        #SBATCH --open-mode=append
        #SBATCH --export=HOME,USER,LOGNAME,PATH,LANG,LC_ALL,HF_HOME
        #SBATCH --requeue
        #SBATCH --nodes=1
        #SBATCH --ntasks=1
        #SBATCH --mem=1431M
        #SBATCH --exclude=n1,n7
        #SBATCH --partition=gpu
        #SBATCH --time=120
        #SBATCH --signal=B:USR1@120

        export OMP_NUM_THREADS=1

        index=${SLURM_ARRAY_TASK_ID:-0}
        # The signals that announce the end of the job are for the worker: it saves its state and ends.
        trap 'came=1; kill -USR1 $worker 2>/dev/null' USR1
        trap 'came=1; kill -TERM $worker 2>/dev/null' TERM
        /opt/plateau worker --batch '/r/my sweep/batches/plateau-1a2b3c4d-3.json' --index "$index" --stdin none &
        worker=$!
        while :; do
          came=
          wait $worker
          code=$?
          [ -n "$came" ] || break
        done
        echo "$code ${SLURM_RESTART_COUNT:-0}" >'/r/my sweep/batches/plateau-1a2b3c4d-3'/$index.exit
        exit $code
        "#);
    }

    #[test]
    fn setup_and_container_stand_before_the_worker() {
        let container =
            Container { image: "image.sif".into(), folders: vec!["/r".into(), "/my data".into()], has_gpus: true };
        let setup = vec!["module load cuda/12.4".into(), "source ~/env.sh".into()];
        let script = JobTemplate { setup, container: Some(container), ..template() }.script(&request());
        assert!(script.contains("set -e\nmodule load cuda/12.4\nsource ~/env.sh\nset +e\n"), "{script}");
        let command = "\napptainer exec --nv --bind /r --bind '/my data' image.sif /opt/plateau worker --batch ";
        assert!(script.contains(command), "{script}");
    }

    #[test]
    fn memory_is_for_the_job_or_for_each_processor() {
        let memory = |memory_per_cpu, memory| {
            let script = JobTemplate { memory_per_cpu, ..template() }.script(&JobRequest { memory, ..request() });
            script.lines().filter(|line| line.contains("--mem")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(memory(None, None), [""; 0]);
        assert_eq!(memory(None, Some(1)), ["#SBATCH --mem=1M"]);
        assert_eq!(memory(Some(2), Some(4 << 30)), ["#SBATCH --mem-per-cpu=2048M"]);
    }

    #[test]
    fn arrays_may_be_throttled() {
        assert_eq!(array(&(0..500), None), "0-499");
        assert_eq!(array(&(10..12), Some(50)), "10-11%50");
    }
}
